"""Every kind of model that predicts can be probed for inference: its outputs are those of `predict`."""

import keras
import numpy as np
import pytest
from kinds import KINDS

from search_spaces.data import map_arrays
from tuning.loops.session import TrainingSession
from tuning.messages import Inference, InferenceRequest


@pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer:UserWarning")  # Keras's, of a model of two models
@pytest.mark.parametrize("name", KINDS)
def test_inference_hands_over_what_predict_takes(name, monkeypatch):
    kind, seen = KINDS[name], []
    own = keras.Model.predict_on_batch

    def watched(model, batch):
        outputs = own(model, batch)
        seen.append((model, outputs))
        return outputs

    monkeypatch.setattr(keras.Model, "predict_on_batch", watched)
    data = kind.data()
    size = min(8, data.n_val)
    found = TrainingSession(kind.build, data).probe(InferenceRequest("i", size, least_calls=1, least_seconds=0.0))
    assert isinstance(found, Inference), found
    model, outputs = seen[0]
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_state()
    model.run_eagerly = True  # one batch takes less time so than to be traced
    first = map_arrays(lambda leaf: leaf[:size], data.x_val)
    expected = model.predict(first, batch_size=size, verbose=0)
    keras.tree.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), outputs, expected)
