"""PRISM: a persona distilled into an adapter, and a gate that switches it on per query.

After Hu et al. (arXiv:2603.18507). `adapter` applies a stock LoRA to chosen rows of a batch,
`gate` decides which rows.
"""
