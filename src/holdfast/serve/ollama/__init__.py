"""Ollama's API over the local server's own chats."""
