"""A local page for a lab: its studies and checks, what runs now, and a bench to draw at; this machine alone can open it."""
