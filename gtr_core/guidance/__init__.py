"""How a teacher guides the agent: one guidance a file, each a class of `base.Guidance`, named in `config.choices`."""
