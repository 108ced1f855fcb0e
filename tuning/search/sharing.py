"""What several cards that share each training ask of a search: batch sizes that they divide, and notes."""

from __future__ import annotations

import logging

from search_spaces.batch_size import BatchSize
from search_spaces.space import SearchSpace
from tuning.messages import ModelDescription

_ENOUGH_TO_NORMALIZE = 16
"""Examples below which the statistics of batch normalisation are too uncertain to compare by."""


def shared_sizes(sizes: BatchSize, cards: int, *, asked: bool) -> BatchSize:
    """Return the batch sizes that so many cards share equally, and tell which of those asked for are left out.

    Args:
        sizes: Within the data.
        cards: How many cards share a batch.
        asked: Whether somebody has asked for these sizes, so that no others take their place.

    Raises:
        ValueError: If none is left.
    """
    if cards == 1:
        return sizes
    kept = (sizes if asked else sizes.from_multiple_of(cards)).shared_by(cards)
    left_out = [str(size) for size in sizes.values() if size % cards]
    if asked and left_out:
        logging.getLogger(__name__).warning(
            f"Left out: batch size {', '.join(left_out)}, which {cards} cards cannot share equally."
        )
    return kept


def notes_on_cards(cards: int, model: ModelDescription, space: SearchSpace) -> list[str]:
    """Return what is otherwise where several cards share each training, one sentence each; nothing for one card."""
    if cards == 1:
        return []
    notes = [f"{cards} cards share each training, by MirroredStrategy; batch sizes are those of all together."]
    few = [size for size in space.batch_size.values() if size // cards < _ENOUGH_TO_NORMALIZE]
    if model.normalizes_by_card and few:
        notes.append(
            f"BatchNormalization sees the examples of one card alone, fewer than {_ENOUGH_TO_NORMALIZE} at batch size "
            f"{', '.join(map(str, few))}; with synchronized=True it sees those of all cards."
        )
    if model.clips_gradients:
        notes.append(
            "The optimizer clips gradients: Keras clips the part of each card before they are summed, so that a bound "
            "clips otherwise than on one card."
        )
    return notes
