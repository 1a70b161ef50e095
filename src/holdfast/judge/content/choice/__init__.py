"""Which of several options a reply commits to."""

from holdfast.judge.content.choice.options import choice as choice
