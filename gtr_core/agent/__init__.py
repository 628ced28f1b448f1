"""The agent: a vision-language model that answers in text, its token spans, its critic and how it is loaded."""
