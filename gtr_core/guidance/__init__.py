"""What a teacher gives: a penalty on the agent's thoughts (`kl`) or thoughts to imitate (`sft`, `corrected`)."""
