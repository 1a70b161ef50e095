"""Training for robustness and fidelity at once: verifiable rewards under mixed personas.

Reinforcement learning on tasks with one right answer makes a model's accuracy depend less on
its persona. Done without personas it moves them all the same, through the weights that they
share; PerMix-RLVR (arXiv 2604.08986) trains under personas drawn from a pool. With a KL
penalty every drawn persona is then anchored to how the model played it before.

    settings   what is trained on, under whom, and how
    mixing     which persona a prompt is asked under: draws from (seed, epoch, item), no torch
    dataset    tasks with gold answers, disjoint from those for evaluation; rows and chats
    task_reward   the reward of a completion, which no persona can change
    trial      what the untrained model does with a few prompts
    prepare    tasks, personas and model of a run, and what it will take
    rollout_text   question and reply in what trainers hand over
    scripts    `mix` and `reward` for training scripts of one's own
    metrics    rewards and zero variance of every step, by persona
    grpo       TRL's trainer, with what mixing needs of it
    imitation  the answers that sft and rft learn from
    fit        training and saving one arm
    train      the whole: `holdfast permix train`
    export     the same rows for verl

The paper's body was not available to us: what is here is our reading of its abstract, and none
of its settings are its own.
"""

from holdfast.training.permix.scripts import compute_score, mix, reward, reward_func

__all__ = ["compute_score", "mix", "reward", "reward_func"]
