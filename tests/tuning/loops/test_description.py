"""What a session tells of the user's build function before any trial."""

import keras
import keras_tuner
import numpy as np
import pytest
from training_helpers import CLASSES, FEATURES, dense_model, make_data

from search_spaces.data import Data
from tuning.loops.replicas import Replicas
from tuning.loops.session import TrainingSession
from tuning.messages import DescribeRequest, ModelDescription
from tuning.trial import Status, TrialOutcome


def describe(build, *, data=None, hyperparameters=None, replicas=None):
    request = DescribeRequest("d", hyperparameters or {})
    return TrainingSession(build, data or make_data(), replicas=replicas).describe(request)


def names(description):
    return [entry.name for entry in description.entries]


def test_a_plain_build_function_is_described():
    description = describe(dense_model)
    assert isinstance(description, ModelDescription)
    assert description.trial_id == "d"
    assert description.optimizer == "Adam"
    assert description.learning_rate == pytest.approx(1e-3)
    assert description.learning_rate_name is None
    assert set(description.metrics) == {"loss", "accuracy"}
    assert set(description.objectives) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert description.parameters == FEATURES * 8 + 8 + 8 * CLASSES + CLASSES
    assert not description.has_batch_normalization
    assert description.entries == ()


def conditional_build(hp):
    if hp.Choice("kind", ["small", "large"]) == "large":
        with hp.conditional_scope("kind", ["large"]):
            hp.Int("depth", 1, 3)
            if hp.Boolean("wide"):
                with hp.conditional_scope("wide", [True]):
                    hp.Float("dropout", 0.0, 0.5)
    with hp.conditional_scope("kind", ["large"]):
        hp.Float("momentum", 0.0, 0.9)
    return dense_model(keras.optimizers.SGD(hp.Float("learning_rate", 1e-3, 1.0, sampling="log")))


def test_every_conditional_scope_is_entered_once():
    description = describe(conditional_build)
    assert set(names(description)) == {"kind", "depth", "wide", "dropout", "momentum", "learning_rate"} - {"dropout"}
    assert description.learning_rate_name == "learning_rate"
    assert description.optimizer == "SGD"


def test_overrides_are_kept():
    hp = keras_tuner.HyperParameters()
    hp.Fixed("kind", "large")
    description = describe(conditional_build, hyperparameters=hp.get_config())
    assert next(entry for entry in description.entries if entry.name == "kind").values == ("large",)
    assert "depth" in names(description)


def test_a_hypermodel_may_declare_what_no_build_reads():
    class Declares(keras_tuner.HyperModel):
        def declare_hyperparameters(self, hp):
            hp.Choice("declared", [1, 2])

        def build(self, hp):
            return dense_model()

    assert names(describe(Declares())) == ["declared"]


def test_a_schedule_of_keras_is_known_by_its_highest_rate_and_its_length():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    found = describe(lambda: dense_model(keras.optimizers.SGD(schedule, weight_decay=0.01)))
    assert (found.schedule, found.learning_rate, found.schedule_updates) == ("CosineDecay", 0.1, 100.0)
    assert found.weight_decay == 0.01


def test_a_schedule_of_ones_own_has_no_known_rate():
    class Own(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1

    found = describe(lambda: dense_model(keras.optimizers.SGD(Own())))
    assert (found.schedule, found.learning_rate, found.schedule_updates) == ("Own", None, None)


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (lambda hp: hp.get("batch_size"), True),
        (lambda hp: hp["batch_size"], True),
        (lambda hp: hp.Choice("batch_size", [10, 20]), True),
        (lambda hp: hp.Choice("units", [10, 20]), False),
    ],
)
def test_a_build_function_that_takes_the_batch_size_is_known(read, told):
    def build(hp):
        read(hp)
        return dense_model()

    assert describe(build).tells_batch_size == told


def test_an_heir_of_an_optimizer_is_described_as_what_it_does():
    class Mine(keras.optimizers.SGD):
        pass

    found = describe(lambda: dense_model(Mine()))
    assert (found.optimizer, found.optimizer_kind) == ("Mine", "SGD")


def test_loss_scaling_is_looked_through():
    def build():
        keras.config.set_dtype_policy("mixed_float16")
        return dense_model(keras.optimizers.Lion(0.25))

    description = describe(build)
    assert (description.optimizer, description.learning_rate) == ("Lion", 0.25)


def test_nested_batch_normalization_is_found():
    def build():
        inner = keras.Sequential([keras.Input((FEATURES,)), keras.layers.BatchNormalization()])
        model = keras.Sequential([keras.Input((FEATURES,)), inner, keras.layers.Dense(CLASSES, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    description = describe(build)
    assert description.has_batch_normalization
    assert description.metrics == ("loss",)


def test_a_model_with_a_fixed_batch_size_is_described_at_that_size():
    def build():
        model = keras.Sequential([keras.Input((FEATURES,), batch_size=10), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    assert isinstance(describe(build), ModelDescription)


MISFITS = {
    "shape": (Data(np.zeros((8, 5)), np.zeros(8), np.zeros((4, 5)), np.zeros(4)), "training on arrays of shapes"),
    "validation": (
        Data(np.zeros((8, FEATURES)), np.zeros(8), np.zeros((4, 5)), np.zeros(4)),
        "validating on arrays of shapes",
    ),
}


@pytest.mark.parametrize(("data", "words"), MISFITS.values(), ids=MISFITS)
def test_data_that_do_not_fit_are_a_failed_outcome(data, words):
    outcome = describe(dense_model, data=data)
    assert isinstance(outcome, TrialOutcome)
    assert outcome.status is Status.FAILED
    assert outcome.reason.startswith("The data must fit the model;")
    assert words in outcome.reason
    assert "\n" not in outcome.reason


def test_a_model_without_a_loss_is_a_failed_outcome():
    outcome = describe(lambda: dense_model(loss=None, metrics=None))
    assert isinstance(outcome, TrialOutcome)
    assert "No loss to compute" in outcome.reason


def test_a_build_function_that_seeds_itself_is_known():
    def build():
        keras.utils.set_random_seed(42)
        return dense_model()

    assert not describe(build).starts_by_seed
    assert describe(dense_model).starts_by_seed


class Reconstructs(keras.Model):
    """Learns from inputs alone, and looks at what it is handed."""

    def __init__(self):
        super().__init__()
        self.decoder = keras.layers.Dense(FEATURES)
        self.error = keras.metrics.Mean(name="error")

    def call(self, x):
        return self.decoder(x)

    def train_step(self, x):
        self.error.update_state(keras.ops.mean((self(x) - x) ** 2))
        return {"error": self.error.result()}

    test_step = train_step


def test_a_model_of_inputs_alone_is_described_by_what_its_steps_log():
    def build():
        model = Reconstructs()
        model.compile("adam")
        return model

    data = make_data()
    session = TrainingSession(build, Data(data.x_train, None, data.x_val, None))
    assert session.describe(DescribeRequest("d", {})).metrics == ("error",)


def test_an_array_of_metrics_is_described_by_its_mean_and_its_components():
    def build():
        return dense_model(loss="categorical_crossentropy", metrics=[keras.metrics.F1Score()])

    data, hot = make_data(), np.eye(CLASSES, dtype="float32")
    session = TrainingSession(build, Data(data.x_train, hot[data.y_train], data.x_val, hot[data.y_val]))
    metrics = session.describe(DescribeRequest("d", {})).metrics
    assert set(metrics) == {"loss", "f1_score", *(f"f1_score_{i}" for i in range(CLASSES))}


def accumulating():
    return dense_model(keras.optimizers.SGD(gradient_accumulation_steps=2))


def of_fixed_size():
    model = keras.Sequential([keras.Input(batch_shape=(10, FEATURES)), keras.layers.Dense(CLASSES)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


class Unaided(keras_tuner.HyperModel):
    """A `fit` that calls no `model.fit`."""

    def build(self, hp):
        return dense_model()

    def fit(self, hp, model, *args, **kwargs):
        return {"loss": 1.0}


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (accumulating, "an optimizer that accumulates gradients"),
        (of_fixed_size, "an input layer that fixes the batch size, to 10"),
        (Unaided(), "a HyperModel.fit with a loop of its own"),
    ],
)
def test_what_several_cards_cannot_train_alike_is_refused(build, what):
    assert isinstance(describe(build), ModelDescription)
    pair = Replicas()
    pair.cards = 2  # without a strategy, which these would fail under
    outcome = describe(build, replicas=pair)
    assert outcome.status is Status.FAILED
    assert f"on 2 cards goes through model.fit, each card with its share of every batch; got {what}. " in outcome.reason


@pytest.mark.parametrize("bound", [{"clipnorm": 1.0}, {"global_clipnorm": 1.0}, {"clipvalue": 1.0}, {}])
def test_clipping_is_told_since_cards_clip_their_own_parts(bound):
    assert describe(lambda: dense_model(keras.optimizers.SGD(**bound))).clips_gradients is bool(bound)


@pytest.mark.parametrize("synchronized", [True, False])
def test_whose_examples_are_normalised_over_is_told(synchronized):
    def build():
        layers = keras.layers.BatchNormalization(synchronized=synchronized)
        model = keras.Sequential([keras.Input((FEATURES,)), layers, keras.layers.Dense(CLASSES, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    found = describe(build)
    assert (found.has_batch_normalization, found.normalizes_by_card) == (True, not synchronized)
