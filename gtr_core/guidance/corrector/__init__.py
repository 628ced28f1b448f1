"""Who judges the agent's thoughts and writes better ones: a model behind an API (`remote`) or the solver (`oracle`)."""
