"""What the page for other people is made of. Only its own process imports this: Gradio is heavy."""
