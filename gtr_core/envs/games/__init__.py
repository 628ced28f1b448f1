"""What each game adds to be spoken to: prompt, keys, action names, oracle and judge. One file a game."""
