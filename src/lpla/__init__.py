"""lpla: does this self-supervised encoder give away the images it was trained on?"""
