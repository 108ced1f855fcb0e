"""`batch-size train`: the recommended setting, trained to a model in a file."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning.commands import final_model
from tuning.commands.search_options import add_engine, read_engine
from tuning.commands.silence import silent_start
from tuning.commands.source import SOURCE_OPTIONS, add_data, add_fit_options, read_arguments, read_workload
from tuning.commands.stages import Stages
from tuning.commands.telling import STUDIES, add_json, add_rule, read_rule
from tuning.commands.values import check_output, count, seed, study_name, word
from tuning.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from search_spaces.workload import Workload
    from tuning.finished import FinishedStudy
    from tuning.loops.final_fit import Fitted
    from tuning.loops.replicas import Replicas
    from tuning.record.final_run import LoggedModel
    from tuning.search.options import SearchArguments, SearchOptions
    from tuning.trial import Trial


def add(commands: Any) -> None:
    """Declare the command."""
    about = "train the recommended setting by plain Keras, into a model file"
    example = "batch-size train digits-grid --epochs 20 -o model.keras"
    parser = commands.add_parser("train", help=about, description=about, example=example)
    parser.add_argument("study", type=study_name, metavar="STUDY", help="the study that recommends")
    about = "where to write the model (default: model.keras)"
    parser.add_argument("-o", "--output", type=word, default="model.keras", metavar="FILE", help=about)
    about = "passes over the training set (default: the study's)"
    parser.add_argument("--epochs", type=count, metavar="N", help=about)
    about = "of weights and order (default: the first that the study did not train)"
    parser.add_argument("--seed", type=seed, metavar="S", help=about)
    about = "what the study searched, if it does not know"
    parser.add_argument("--workload", type=word, metavar="WORKLOAD", help=about)
    add_data(parser)
    add_fit_options(parser)
    add_rule(parser)
    about = "the study's Optuna storage, if it has one (default: a file in batch_size_studies/)"
    parser.add_argument("--storage", type=word, metavar="URL", help=about)
    add_engine(parser, measures=False)
    final_model.add_options(parser)
    add_json(parser)
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=train)


def train(asked: argparse.Namespace) -> int:
    """`batch-size train`: build the recommended setting, `fit` it, write it, and say whether its score was expected."""
    _check_file(asked.output)
    _check_engine(asked)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if asked.engine != "local":  # this process builds the model, too, perhaps beside the card that trains it
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    elif asked.gpus_per_trial == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    with Stages(quiet=asked.quiet or asked.json) as stage:
        stage("Reading the study, and loading TensorFlow")
        return _train_recommended(asked, stage)


def _train_recommended(asked: argparse.Namespace, stage: Stages) -> int:
    with silent_start():
        from tuning.finished import load_study

        study = load_study(asked.study, STUDIES, storage=asked.storage)
        source = _source(study, asked)
        rule = {name: value for name, value in read_rule(asked).items() if value is not None}
        found = study.recommend(**rule)
        workload = read_workload(source)
        arguments = read_arguments(workload, source)
        _check_data(study, arguments)
        place = final_model.place_of(asked)
    trial = study.final_training(found, epochs=asked.epochs, seed=asked.seed)
    scores = study.scores_after(found, trial.budget.epochs)
    return _train(study, trial, scores, workload, arguments, asked, stage, place)


def _train(
    study: FinishedStudy,
    trial: Trial,
    scores: dict[int, float],
    workload: Workload,
    arguments: SearchArguments,
    asked: argparse.Namespace,
    stage: Stages,
    place: str | None,
) -> int:
    with silent_start():
        from tuning.built import ScaledHyperModel
        from tuning.loops.final_fit import partial_of, some_predictions
        from tuning.loops.model_builder import takes_hyperparameters
        from tuning.loops.optimizers import as_expressions
        from tuning.stats.fresh_seed import FreshScore
    with _replicas_here(asked, trial.batch_size).scope():
        model = ScaledHyperModel(workload.build, lambda: trial.instructions).build_for(trial)
    constants = as_expressions(model, trial.instructions.scaling)
    stage("")
    print(_told_setting(trial), file=sys.stderr)
    fit = _fit_here if asked.engine == "local" else _fit_on_cluster
    try:
        fitted = fit(model, trial, workload, arguments, asked)
    except KeyboardInterrupt:
        return _interrupted(partial_of(Path(asked.output)))
    fresh = FreshScore(fitted.metrics[study.objective.name], tuple(scores.values()), study.objective.name)
    stage("Logging the model in MLflow")
    examples = some_predictions(model, arguments.data)
    logged = final_model.log_model(place, asked, trial, fitted, fresh, model, examples)
    stage("")
    takes_hp = hasattr(workload.build, "build") or takes_hyperparameters(workload.build)
    cards, wraps = asked.gpus_per_trial or 1, hasattr(model.optimizer, "inner_optimizer")
    script = _script(trial, constants, arguments, wraps=wraps, cards=cards, takes_hp=takes_hp)
    _tell(trial, fresh, study, script, asked, logged)
    return 1 if asked.register is not None and logged is None else 0


def _replicas_here(asked: argparse.Namespace, batch_size: int) -> Replicas:
    """Return the cards of this process that share the training; one where it trains elsewhere."""
    from tuning.loops.replicas import Replicas
    from tuning.run.facts import rehearse

    cards = (asked.gpus_per_trial or 1) if asked.engine == "local" else 1
    rehearse(cards)
    replicas = Replicas(cards)
    replicas.check(batch_size)
    return replicas


def _fit_here(model: Any, trial: Trial, _: Workload, arguments: SearchArguments, asked: argparse.Namespace) -> Fitted:
    from tuning.loops.final_fit import FinalFit

    with contextlib.redirect_stdout(sys.stderr):  # where progress goes; the answer alone is told on the other
        return FinalFit(trial, Path(asked.output)).run(
            model,
            arguments.data,
            callbacks=arguments.callbacks,
            class_weight=arguments.fit_options.get("class_weight"),
            verbose=0 if asked.quiet else 1 if sys.stderr.isatty() else 2,  # a bar, or a line an epoch
        )


def _fit_on_cluster(
    model: Any, trial: Trial, workload: Workload, arguments: SearchArguments, asked: argparse.Namespace
) -> Fitted:
    """Have a node of a cluster train the model, whose weights then come here."""
    from tuning.commands.training_elsewhere import train_elsewhere
    from tuning.loops.final_fit import load_fitted, partial_of
    from tuning.run.executor import WorkerSetup
    from tuning.search.workers import connected

    path = Path(asked.output)
    unfinished = partial_of(path)
    unfinished.unlink(missing_ok=True)
    cluster, demand = connected(_check_engine(asked))
    setup = WorkerSetup(workload.build, arguments.data, arguments.callbacks, arguments.fit_options)
    trained = train_elsewhere(
        setup, trial, cluster, demand, lambda line: None if asked.quiet else print(line, file=sys.stderr)
    )
    unfinished.write_bytes(trained.content)
    unfinished.replace(path)
    load_fitted(path, model, arguments.data)
    return trained.fitted


def _check_engine(asked: argparse.Namespace) -> SearchOptions:
    """Return where to train; what does not go together is refused."""
    from tuning.search.options import SearchOptions

    return SearchOptions(**read_engine(asked))


def _check_file(text: str) -> None:
    if Path(text).suffix != ".keras":
        raise ValueError(f"--output must name a .keras file, Keras's own format of models; got {text!r}.")
    check_output("--output", text)


def _source(study: FinishedStudy, asked: argparse.Namespace) -> argparse.Namespace:
    """Return where model and data come from: what the command says, else what the study remembers."""
    known = dict.fromkeys(SOURCE_OPTIONS) | study.source
    told = {name: value for name in SOURCE_OPTIONS if (value := getattr(asked, name)) is not None}
    if known["workload"] is None and "workload" not in told:
        raise ValueError(
            f"A final training needs the study's workload; {study.name} does not know its own, since it was searched "
            "from Python or by an earlier version. Give --workload, and --data if it took a file."
        )
    return argparse.Namespace(**{**known, **told, "epochs": None})


def _check_data(study: FinishedStudy, arguments: SearchArguments) -> None:
    from tuning.search.preparation import tell_data

    searched, now = study.settings["data"], tell_data(arguments.data)
    if searched != now:
        raise ValueError(
            f"The data must be those of the study, whose recommendation holds for them: {searched}; got {now}. Give "
            "--data with the study's file, or search again."
        )


def _told_setting(trial: Trial) -> str:
    rate = (
        "the model's own learning rate" if trial.learning_rate is None else f"learning rate {trial.learning_rate:.4g}"
    )
    more = "".join(f", {name} {value}" for name, value in trial.hyperparameters)
    told = f"Training batch size {trial.batch_size}, {rate}{more}"
    return f"{told}, {trial.budget.epochs} epochs, seed {trial.seed}"


def _interrupted(partial: Path) -> int:
    kept = (
        f"The model of the last whole epoch is in {partial}."
        if partial.exists()
        else "No epoch ended; nothing is kept."
    )
    with contextlib.suppress(OSError):  # the terminal may have gone
        print(f"\nInterrupted. {kept} The same command trains from the beginning.", file=sys.stderr)
    return INTERRUPTED


def _script(
    trial: Trial, constants: dict[str, str], arguments: SearchArguments, *, wraps: bool, cards: int, takes_hp: bool
) -> str:
    """Return the same training as a script of plain Keras."""
    from tuning.search.preparation import how_made
    from tuning.show.snippet import snippet

    return snippet(
        batch_size=trial.batch_size,
        epochs=trial.budget.epochs,
        seed=trial.seed,
        learning_rate=trial.learning_rate,
        hyperparameters=dict(trial.hyperparameters),
        constants=constants,
        fit_options={
            "validation_batch_size": trial.instructions.evaluation_batch_size,
            "class_weight": arguments.fit_options.get("class_weight"),
        },
        made=bool(how_made(arguments.data)),
        cards=cards,
        takes_hp=takes_hp,
        optimizer="model.optimizer.inner_optimizer" if wraps else "model.optimizer",
    )


def _tell(
    trial: Trial, fresh: Any, study: FinishedStudy, script: str, asked: argparse.Namespace, logged: LoggedModel | None
) -> None:
    if asked.json:
        from tuning.show.schema import SCHEMA_VERSION

        told = {
            "schema_version": SCHEMA_VERSION,
            "study": study.name,
            "model": asked.output,
            "batch_size": trial.batch_size,
            "learning_rate": trial.learning_rate,
            "hyperparameters": dict(trial.hyperparameters),
            "epochs": trial.budget.epochs,
            "seed": trial.seed,
            "objective": study.objective.name,
            **fresh.to_json(),
            **final_model.to_json(logged),
            "script": script,
        }
        print(json.dumps(told))
        return
    print(f"Wrote {asked.output}. {fresh.tell()}")
    if trial.budget.epochs != int(study.settings["epochs"]):
        print(
            f"It was trained for {trial.budget.epochs} epochs, where the study trained for {study.settings['epochs']}."
        )
    if logged is not None:
        print(final_model.told(logged))
    print(f"\nThe same in a script of yours:\n\n{script}", end="")
