"""What objects are and look like, told object by object: prompts of their own, and kinds of things for segmentation."""
