import numpy as np

from tuning.search.options import read_search_arguments

X, Y = np.arange(10.0).reshape(10, 1), np.arange(10)


def test_the_last_share_of_the_examples_validates_as_in_keras() -> None:
    data = read_search_arguments(X, Y, validation_split=0.2, sample_weight=np.ones(10)).data
    assert data.y_train.tolist() == list(range(8))
    assert data.y_val.tolist() == [8, 9]
    assert len(data.sample_weight_train) == 8


def test_validation_data_may_carry_weights() -> None:
    data = read_search_arguments(X, Y, validation_data=(X[:3], Y[:3], np.ones(3))).data
    assert data.n_val == len(data.sample_weight_val) == 3


def test_unbatched_datasets_are_collected() -> None:
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((X, Y))
    assert read_search_arguments(dataset, validation_data=dataset.take(4)).data.n_val == 4


def test_further_arguments_go_on_to_fit() -> None:
    found = read_search_arguments(X, Y, validation_split=0.5, class_weight={0: 2.0}, verbose=0)
    assert found.fit_options == {"class_weight": {0: 2.0}}
    assert not found.verbose
