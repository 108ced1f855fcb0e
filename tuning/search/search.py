"""Search: one search from top to bottom: describe, space, study, machine, plan, loop, recommend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from tuning.instructions import Instructions
from tuning.loops.state_file import forget_states
from tuning.machine.capped_executor import CappedExecutor
from tuning.machine.measuring import with_memory, with_threads
from tuning.plans.halving import Halving
from tuning.plans.plan import Plan
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.owed import FOLDER
from tuning.record.tracker import Tracker
from tuning.run.asking import Question, first_device
from tuning.run.executor import Executor
from tuning.run.of_kind import of_kind
from tuning.search.answering import answer_search, base_notes
from tuning.search.assistant import Checkpoints, SearchAssistant
from tuning.search.delivery import deliver_owed, relog
from tuning.search.early_imports import EarlyImports
from tuning.search.following import scaling_of, told
from tuning.search.growth import EPOCHS, grown, may_grow, tell_growth, to_be_measured_again, widened
from tuning.search.lengthening import check_longer
from tuning.search.loop import Deadline, SearchLoop
from tuning.search.method import DeclaredHyperparameters, Hyperparameters, Method
from tuning.search.options import LOCAL, SearchArguments, SearchOptions
from tuning.search.placing import Placing, kind_to_measure
from tuning.search.preparation import (
    Setup,
    ask_for_model,
    check_sizes,
    described,
    provenance,
    resolve_objective,
    resolve_space,
    settings_of,
)
from tuning.search.side_by_side import divide, places_for
from tuning.search.wishes import Wishes
from tuning.show.answer import Answer
from tuning.show.progress import SearchProgress
from tuning.study.claim import Claim, claimed
from tuning.study.storage import SETTINGS, check_settings, create_study, recorded_trials, set_aside, with_format
from tuning.study.study import Study

SCALING = "scaling"
"""The fact of a study that says what followed the batch size: the fields of a `Scaling`."""

MEASURED_KIND = "device_kind"
"""The fact of a study that says which kind of device it measures; an answer may hold for another one."""

SOURCE = "source"
"""The fact of a study that says where the command line found its model and data: `SearchArguments.source`."""


class Search:
    """Searches, or goes on with a search of the same name and settings.

    Args:
        study: The record, not yet open.
        method: What kind of search it is.
        wishes: What is to be tried.
        options: How it runs.
        tracker: Where it is shown; None for MLflow at the options' `tracking_uri`.
        directory: The study's own directory.
        hyperparameters: Those of the build function; None for all that it declares, none overridden.
        stage: Told the name of each stage before it begins, and nothing before trials show their own progress.

    Raises:
        TrackingError: If MLflow's store cannot be used.
    """

    def __init__(
        self,
        study: Study,
        method: Method,
        wishes: Wishes,
        *,
        options: SearchOptions,
        directory: Path,
        tracker: Tracker | None = None,
        hyperparameters: Hyperparameters | None = None,
        stage: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._stage = stage
        self._study, self._method, self._wishes = study, method, wishes
        self._options, self._directory = options, directory
        self._tracker = tracker or MlflowTracker(options.tracking_uri, outbox=directory / FOLDER)
        self._hyperparameters = hyperparameters or DeclaredHyperparameters()

    def run(
        self,
        arguments: SearchArguments,
        executor: Executor,
        *,
        fresh: bool = False,
        question: Question | None = None,
        show: Callable[[Answer], object] = lambda _: None,
    ) -> Answer:
        """Search to the end and return the answer.

        Args:
            arguments: What to search on.
            executor: Trains; it is not closed here, but on Ctrl-C.
            fresh: Whether to start over; what an earlier study of this name recorded is set aside.
            question: The executor's first device has been asked this for the model; None to ask now.
            show: Shows people the answer, before its report is drawn and all of it recorded.

        Raises:
            ValueError: If the data, the model or the objective cannot be used; nothing has been written.
            NothingToRecommend: If no trial completed.
            KeyboardInterrupt: On Ctrl-C, after the running trials have been recorded; search again to go on.
        """
        deadline = Deadline.after(self._options.timeout_s)
        question = question or ask_for_model(executor, self._hyperparameters.known())
        setup = self._describe(arguments, question, executor)
        scaling_of(setup, self._options)  # what cannot be followed is refused before anything is written
        with claimed(self._directory, self._options.storage) as claim:
            self._stage("Opening the study")
            shown, before = self._open_study(claim, setup, executor, fresh=fresh)
            try:
                if self._method.widens:
                    setup = replace(setup, space=widened(setup.space, self._study.records))
                within = self._measure_memory(setup, executor)
                plan = self._method.make_plan(setup, self._study.records.machine)
                self._choose_threads(plan, setup, within)
                divide(within, self._study.records.machine)
                self._train(plan, setup, within, deadline, growth=self._tell_growth(plan, before, shown))
                return self._answer(plan, setup, executor, shown, show)
            finally:
                self._stage("Writing the last of it to MLflow")
                self._tracker.close()

    def _describe(self, arguments: SearchArguments, question: Question, executor: Executor) -> Setup:
        """Learn what the build function builds, and settle objective and space by it."""
        check_sizes(self._wishes.batch_size, arguments.data)
        self._stage("Building the model in a worker, which loads TensorFlow")
        model = described(question, meanwhile=self._tracker.prepare)
        objective, cards = resolve_objective(self._wishes.objective, model), first_device(executor).cards
        space = resolve_space(
            model,
            self._hyperparameters.learn(model),
            batch_size=self._wishes.batch_size,
            default_batch_size=self._method.default_batch_size(arguments.data.epoch_length),
            learning_rate=self._wishes.learning_rate,
            n_train=arguments.data.epoch_length,
            cards=cards,
        )
        return Setup(arguments, model, objective, space, cards)

    def _open_study(
        self, claim: Claim, setup: Setup, executor: Executor, *, fresh: bool
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Open the study, or refuse one of other settings.

        Returns:
            The settings that people are shown, and those that the study had before; empty for a new one.
        """
        name, storage = self._study.name, claim.storage
        settings = settings_of(self._method.kind, setup, seeds=self._wishes.seeds, loop=self._options.loop)
        settings = {**settings, **told(setup, scaling_of(setup, self._options)), **self._method.settings}
        claim.take(name)
        if fresh:
            deliver_owed(name, self._directory, self._options.tracking_uri, claim)
            set_aside(storage, name)
            forget_states(self._weights)  # names of trials begin anew
            self._tracker.fresh(name)
        before = check_settings(storage, name, settings, lambda stored: may_grow(stored, settings))
        if before and before[EPOCHS] != settings[EPOCHS]:
            trials = recorded_trials(storage, name)
            allocates = self._wishes.allocates_seeds
            check_longer(name, before, setup, self._options, trials, self._weights, allocates_seeds=allocates)
        settings = grown(before, settings)
        notes = base_notes(setup, self._options, self._study.records, n_devices=len(executor.devices()))
        shown = {**settings, "notes": "\n".join(notes), **provenance(executor.devices())}
        self._tracker.start_study(name, shown)
        create_study(storage, name, objective=setup.objective, settings=settings)
        claim.take(name)  # if the study is new
        self._study.open(storage, setup.objective, check=claim.check)
        known = self._study.recall(MEASURED_KIND)
        kind = kind_to_measure(executor, self._options.device_kind, known)
        self._study.measure_on(kind)
        if kind != known:
            self._study.remember(MEASURED_KIND, kind)
        if before != settings:
            self._study.measured(to_be_measured_again(self._study.records.machine, before, settings))
            self._study.remember(SETTINGS, with_format(settings))
            self._study.lengthen()
        self._study.remember("input_shape", setup.model.input_shape)
        self._study.remember(SCALING, asdict(scaling_of(setup, self._options)))
        self._study.remember(SOURCE, dict(setup.arguments.source))
        relog(self._study, self._tracker)
        return shown, before

    @property
    def _weights(self) -> Path:
        """Where workers put the weights and the states of trials that keep them."""
        return self._directory.resolve() / "weights"

    def _tell_growth(self, plan: Plan, before: Mapping[str, str], now: Mapping[str, str]) -> str:
        records = self._study.records
        return tell_growth(before, now, lacking=plan.total(records) - records.n_settled)

    def _measure_memory(self, setup: Setup, executor: Executor) -> Executor:
        """Return the executor, capped at the largest batch size that fits where that is worth asking.

        A model with hyperparameters of its own may need more or less memory from setting to setting; it is not capped.
        """
        unasked = not self._options.probe or self._options.in_process or setup.model.has_own_loop
        if unasked or setup.space.entries:
            return executor
        machine, kind = self._study.records.machine, self._study.device_kind
        own = of_kind(executor, kind)
        if not machine.memory_is_known:
            self._stage("Learning which batch sizes fit into memory")
            machine = with_memory(
                machine,
                own,
                sizes=widened(setup.space, self._study.records).batch_size.values(),
                data=setup.arguments.data,
                model=setup.model,
                evaluation_batch_size=setup.arguments.evaluation_batch_size,
                loop=self._options.loop,
            )
            self._study.measured(machine)
            if machine.memory is not None:
                self._tracker.measured(machine.memory.measurement)
        if machine.memory is None and not first_device(own).is_gpu:
            return executor
        return CappedExecutor(executor, machine.memory, accumulate=self._options.accumulate, kind=kind)

    def _choose_threads(self, plan: Plan, setup: Setup, executor: Executor) -> None:
        """Choose the CPU threads of each batch size; all where memory is short, since a choice takes a second worker.

        A study that began without a choice goes on so.
        """
        records = self._study.records
        may_choose = self._options.threads is None and self._method.chooses_threads and records.machine.memory is None
        may_choose = may_choose and not setup.model.has_own_loop
        if records.machine.threads is not None or not may_choose or len(records):
            return
        self._stage("Choosing the CPU threads of each batch size")
        examples = self._trainings_per_size(plan, setup) * setup.arguments.epochs * setup.n_train
        places = self._places(setup, executor, plan.total(records))
        machine = with_threads(
            records.machine,
            of_kind(executor, self._study.device_kind),
            {size: examples / size for size in setup.space.batch_size.values()},
            loop=self._options.loop,
            n_train=setup.n_train,
            evaluation_batch_size=setup.arguments.evaluation_batch_size,
            places=places,
        )
        self._study.measured(machine)
        if machine.threads is not None and machine.threads.seconds:
            self._tracker.measured(machine.threads.measurement)

    def _places(self, setup: Setup, executor: Executor, n_trials: int) -> int:
        """Return how many trials may run beside one another on one CPU; one where order decides which are stopped."""
        if self._prunes and not self._method.halves_side_by_side:
            return 1
        return places_for(setup, self._options, executor, n_trials)

    @property
    def _prunes(self) -> bool:
        return self._method.prunes if self._options.prune is None else self._options.prune

    def _train(self, plan: Plan, setup: Setup, executor: Executor, deadline: Deadline, *, growth: str) -> None:
        """Run the trials of the plan, once people have been told by what the study grows, if it does."""
        self._stage("")
        study, options, imports = self._study, self._options, EarlyImports()
        quiet = options.quiet or not setup.arguments.verbose
        with SearchProgress(
            plan.total(study.records),
            study.records,
            objective=study.objective,
            varied=setup.space.varied if self._method.varies_model else (),
            quiet=quiet,
        ) as display:
            if growth:
                display.tell(growth)
            assistant = SearchAssistant(
                study,
                plan,
                setup,
                executor=of_kind(executor, study.device_kind),
                tracker=self._tracker,
                instructions=self._instructions(plan, setup),
                imports=imports,
                places=self._places(setup, executor, first_device(of_kind(executor, study.device_kind)).cores),
                checkpoints=Checkpoints(self._weights, options.keep_models, study.objective, study.records),
                states=self._weights if options.engine == LOCAL else None,
                tell=display.tell,
            )
            SearchLoop(
                study,
                plan,
                executor,
                self._tracker,
                display,
                assistant=assistant,
                halving=Halving(study.objective, n_train=setup.n_train, stops=self._prunes),
                placing=Placing(study.device_kind),
                retries=options.max_retries_per_trial,
                most_failures=options.max_consecutive_failed_trials,
                trial_timeout_s=options.trial_timeout_s,
                deadline=deadline,
            ).run()
        imports.wait()

    def _answer(
        self,
        plan: Plan,
        setup: Setup,
        executor: Executor,
        shown: Mapping[str, str],
        show: Callable[[Answer], object],
    ) -> Answer:
        """Recommend a batch size and show it where the trials are shown."""
        self._stage("Timing how to train with the recommended batch size, and drawing the report")
        return answer_search(
            self._study,
            plan,
            setup,
            self._options,
            seeds=self._wishes.seeds,
            further_objectives=self._wishes.further_objectives,
            tracker=self._tracker,
            executor=executor,
            shown=shown,
            show=show,
        )

    def _instructions(self, plan: Plan, setup: Setup) -> Instructions:
        """Return what the workers of all trials are told."""
        return Instructions(
            loop=self._options.loop,
            evaluation_batch_size=setup.arguments.evaluation_batch_size,
            keep_weights=self._options.keep_models > 0,
            keep_state=self._options.keep_states,
            scaling=scaling_of(setup, self._options),
            trainings=self._trainings_per_size(plan, setup),
        )

    def _trainings_per_size(self, plan: Plan, setup: Setup) -> int:
        """Return how many trainings the plan has for each batch size, on average, as far as can be said now."""
        return max(1, round(plan.total(self._study.records) / len(setup.space.batch_size.values())))
