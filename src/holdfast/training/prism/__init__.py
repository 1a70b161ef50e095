"""PRISM: a persona distilled into an adapter, and a gate that switches it on per query.

After Hu et al. (arXiv:2603.18507). This package trains both; `models.local.gated_adapter` uses
them.

    settings        what is asked, and how the adapter is trained
    pipeline        the whole: `holdfast prism train`
    stages          queries, answers and comparisons, each a run that goes on after a stop
    queries, comparisons, mini_truth    what these stages do
    deciders        training and testing the gate and the prompt router
    distillation    the persona distilled into the adapter
    evaluation      `holdfast prism eval`: PRISM beside what it has to beat
"""
