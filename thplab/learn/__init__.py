"""What a learner operates and reads: widgets, lessons, and pages made of them."""
