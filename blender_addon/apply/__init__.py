"""Results into the scene: images, the overlay, materials. Main thread only, one undo step per result."""
