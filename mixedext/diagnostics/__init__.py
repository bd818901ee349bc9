"""Whether a fitted model is right, and which rows and levels it rests on."""
