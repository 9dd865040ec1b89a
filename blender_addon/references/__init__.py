"""Pictures that show what is wanted beside the prompt: a list of images, how they act, and what a job has of them.

Nothing is imported here: requests are made of it, and panels are drawn of requests.
"""
