"""Replies that the limit of tokens cut: a run does not go on with stumps.

A reply that was cut has said nothing that can be compared, paid or imitated as a whole, and where
a persona makes replies longer the limit decides in its place. So both pipelines count such replies
by persona in their first few, and stop where nearly all of one are cut and none was right.

This module knows numbers. It knows no models and no trainer.
"""

from __future__ import annotations

from holdfast.core.errors import HoldfastError

MOSTLY = 0.9
"""A share of cut replies that a limit is to blame for."""
LEAST = 6
"""Replies below which a share says nothing."""


def refuse_cut(who: str, n: int, cut: float, limit: int, *, right: float | None = None) -> None:
    """Raise `HoldfastError` where nearly all replies were cut, with the figure and what to do.

    Args:
        who: Whose they are, as in "under harmful personas".
        n: Number of replies.
        cut: Share of them that reached the limit of tokens.
        limit: Tokens of a reply at most.
        right: Mean score of them; None where nobody knows it.
    """
    if cut < MOSTLY or n < LEAST or right:
        return
    wrong = "" if right is None else " and none was right"
    raise HoldfastError(
        f"{cut:.0%} of {n} replies {who} reached the limit of {limit} tokens{wrong}: give a higher "
        "`max_new_tokens`, and another `out`."
    )
