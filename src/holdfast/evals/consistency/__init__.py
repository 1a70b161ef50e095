"""Whether the two sides of recorded conversations keep to their prompts, and the user is a user."""
