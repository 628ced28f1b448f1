"""The math: environments, agent, RL, guidance, merging and evaluation; no orchestrator, no tracker."""
