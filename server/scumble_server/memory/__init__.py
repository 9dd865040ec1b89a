"""How much memory a job takes, and how it is made to take less. Pure numbers: nothing here imports torch."""
