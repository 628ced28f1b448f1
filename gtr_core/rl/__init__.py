"""Multi-turn PPO for a policy that thinks before it acts."""
