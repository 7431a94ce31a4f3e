"""The trainers of this project; DPO is TRL's with shared prompts, SFT is TRL's."""
