"""The diffusion engine; see the modules."""

from __future__ import annotations

import logging

# Said on every start by optional packages of what isn't used here, and isn't the artist's to do anything about.
for _noisy in ("torchao", "torch.utils._pytree", "diffusers.quantizers.torchao.torchao_quantizer"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)
