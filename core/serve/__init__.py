"""The loaded model for others: an OpenAI-compatible address with named tokens, and extraction over HTTP."""
