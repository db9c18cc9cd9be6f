"""What people believe about LoRA training, a short study each: the list, the runs, what came out, and the suite for trainers' authors."""
