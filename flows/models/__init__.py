"""Commands on a model that is there: find it, evaluate it, play it, merge it."""
