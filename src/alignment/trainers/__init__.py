"""The trainers of this project; SFT and DPO are TRL's."""
