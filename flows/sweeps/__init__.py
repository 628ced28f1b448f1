"""Many runs: sweeps, the demo's arms, what they will cost, and where they are computed."""
