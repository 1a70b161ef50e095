"""Drawing the next token of every row of a batch, under guidance where a row has a shadow.

This module knows rows and logits. It knows no model and no cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from holdfast.core.backend import Sampling
from holdfast.models.engine.request import Logprob, Row
from holdfast.models.engine.sampling import draw, guide


class Picker:
    """Draws tokens for the rows of a batch, as long as these stay the same."""

    def __init__(self, rows: Sequence[Row], device: torch.device) -> None:
        self.rows, self.device = rows, device
        places = {id(row): i for i, row in enumerate(rows)}
        pairs = [(i, places[id(row.shadow)]) for i, row in enumerate(rows) if row.shadow]
        self.pairs = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
        strengths = [row.request.guide.strength for row in rows if row.request.guide]
        self.strengths = torch.tensor(strengths)[:, None]
        self.shadows = {id(row.shadow) for row in rows if row.shadow}
        self.by_sampling: dict[Sampling, list[int]] = {}
        for i, row in enumerate(rows):
            self.by_sampling.setdefault(row.sampling, []).append(i)

    def pick(self, logits: Tensor, ends: frozenset[int]) -> Tensor:
        """Draw a token for every row, add it to the row's reply, and return all, (B,).

        A row whose logits are not finite ends as "error".

        Args:
            logits: (B, vocabulary).
            ends: tokens that end a reply.
        """
        logits = self._guide(logits)
        steps = [min(row.steps, row.limit - 1) for row in self.rows]
        uniforms = [row.uniforms[step] for row, step in zip(self.rows, steps, strict=True)]
        tokens, finite = self._draw(
            self._shape(logits), torch.tensor(uniforms, dtype=torch.float64)
        )
        self._record_logprobs(logits, tokens)
        for row, token, fine in zip(self.rows, tokens.tolist(), finite.tolist(), strict=True):
            if id(row) in self.shadows or row.stop is not None:
                continue
            if fine:
                row.take(token, ends)
            else:
                row.stop = "error"
            if row.shadow:
                row.shadow.steps, row.shadow.stop = row.steps, row.stop
        return tokens.to(self.device)

    def _draw(self, logits: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a token for each row by its sampling; return whether its logits are finite, too."""
        if self.device.type != "mps":  # which has no float64
            u = u.to(self.device)
        if len(self.by_sampling) == 1:
            return draw(logits, u, next(iter(self.by_sampling)))
        tokens = torch.zeros(len(self.rows), dtype=torch.long)
        finite = torch.zeros(len(self.rows), dtype=torch.bool)
        for sampling, rows in self.by_sampling.items():
            some_tokens, some_finite = draw(logits[rows], u[rows], sampling)
            tokens[rows], finite[rows] = some_tokens.cpu(), some_finite.cpu()
        return tokens, finite

    def _guide(self, logits: Tensor) -> Tensor:
        """Give guided rows and their shadows the logits of the joint distribution."""
        if not self.pairs.numel():
            return logits
        whole, bare = (part.to(logits.device) for part in self.pairs)
        with_persona, without = (logits[i].float().log_softmax(-1) for i in (whole, bare))
        joint = logits.float()
        joint[whole] = joint[bare] = guide(with_persona, without, self.strengths.to(logits.device))
        return joint

    def _shape(self, logits: Tensor) -> Tensor:
        """Change the logits of the rows that have a shaper; a shadow gets its row's."""
        indices = [i for i, row in enumerate(self.rows) if row.shaper and row.stop is None]
        if not indices:
            return logits
        logits = logits.float().clone()
        for i in indices:
            shaper = self.rows[i].shaper
            assert shaper is not None
            logits[i] = shaper(logits[i], self.rows[i].reply)
        for whole, bare in self.pairs.T.tolist():
            logits[bare] = logits[whole]
        return logits

    def _record_logprobs(self, logits: Tensor, tokens: Tensor) -> None:
        """Record log-probabilities for the rows that ask for them."""
        for i, row in enumerate(self.rows):
            count = row.request.logprobs
            if count is None or row.stop is not None:
                continue
            logs = logits[i].float().log_softmax(-1)
            values, ids = logs.topk(min(count, len(logs)))
            token = int(tokens[i])
            top = tuple(zip(ids.tolist(), values.tolist(), strict=True))
            row.logprobs.append(Logprob(token, float(logs[token]), top))
