"""Hands studies to other trainers: their folders, their configuration, their commands."""
