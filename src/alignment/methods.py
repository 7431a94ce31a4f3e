"""The methods, as data. Adding one takes a row here, a loss, a recipe and a test (CONTRIBUTING.md)."""

from __future__ import annotations

from alignment.bound import Bound, above, at_least, count
from alignment.method import REWARD_METRICS, Method, Paper

_ENDS = ("keep_start", "keep_end")
_SHARE = Bound(low=0, high=1, remedy="a share between 0 and 1")

METHODS: dict[str, Method] = {
    "sft": Method(
        name="sft",
        title="Supervised fine-tuning",
        data="conversation",
        config="alignment.trainers.sft_config:SFTConfig",
        trainer="alignment.trainers.sft:SFTTrainer",
        built_on_trl=True,
        rules="alignment.data.token_rules:SFTRules",
        metrics=("loss",),
        logps=None,
        shares_prompts=False,
        words={
            "truncation_mode": _ENDS,
            "loss_type": ("nll", "dft", "chunked_nll"),
            "packing_strategy": ("bfd", "bfd_split", "wrapped"),
        },
        relations="alignment.recipe.sft_relations:SFT_RULES",
        recomputation=("selective",),
        paper=Paper(
            title="Training language models to follow instructions with human feedback",
            authors="Ouyang, Long and Wu, Jeff and Jiang, Xu and others",
            year=2022,
            arxiv="2203.02155",
        ),
        formula=r"\mathcal{L} = -\frac{1}{|y|} \sum_t \log \pi_\theta(y_t \mid x, y_{<t})",
    ),
    "dpo": Method(
        name="dpo",
        title="Direct Preference Optimization",
        config="alignment.trainers.dpo_config:DPOConfig",
        trainer="alignment.trainers.dpo:DPOTrainer",
        built_on_trl=True,
        rules="alignment.data.token_rules:DPORules",
        metrics=(*REWARD_METRICS, "mean_token_accuracy", "entropy"),
        reference=True,
        logps="sum",
        bounds={
            "precompute_ref_batch_size": count(1, 2**16, "remove it for per_device_train_batch_size"),
            "ref_model_sync_steps": at_least(1, "512 is the default"),
            "ref_model_mixup_alpha": _SHARE,
            "ld_alpha": _SHARE,
            "discopop_tau": above(0, "0.05 is usual"),
            "loss_weights[]": at_least(0, "1 is usual; remove a loss rather than weigh it 0"),
        },
        words={
            "truncation_mode": _ENDS,
            "f_divergence_type": ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"),
            "loss_type": (
                *("sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot"),
                *("aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm"),
            ),
        },
        relations="alignment.recipe.dpo_relations:DPO_RULES",
        paper=Paper(
            title="Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
            authors="Rafailov, Rafael and Sharma, Archit and Mitchell, Eric and Ermon, Stefano and "
            "Manning, Christopher D. and Finn, Chelsea",
            year=2023,
            arxiv="2305.18290",
        ),
        formula=r"\mathcal{L} = -\log \sigma\left("
        r"\beta \log \frac{\pi_\theta(y_w \mid x)}{\pi_\mathrm{ref}(y_w \mid x)}"
        r" - \beta \log \frac{\pi_\theta(y_l \mid x)}{\pi_\mathrm{ref}(y_l \mid x)}\right)",
    ),
    "simpo": Method(
        name="simpo",
        title="Simple Preference Optimization",
        config="alignment.trainers.config:SimPOConfig",
        trainer="alignment.trainers.simpo:SimPOTrainer",
        paper=Paper(
            title="SimPO: Simple Preference Optimization with a Reference-Free Reward",
            authors="Meng, Yu and Xia, Mengzhou and Chen, Danqi",
            year=2024,
            arxiv="2405.14734",
        ),
        formula=r"\mathcal{L} = -\log \sigma\left(\frac{\beta}{|y_w|} \log \pi_\theta(y_w \mid x)"
        r" - \frac{\beta}{|y_l|} \log \pi_\theta(y_l \mid x) - \gamma\right)",
    ),
    "orpo": Method(
        name="orpo",
        title="Odds Ratio Preference Optimization",
        config="alignment.trainers.config:ORPOConfig",
        trainer="alignment.trainers.orpo:ORPOTrainer",
        paper=Paper(
            title="ORPO: Monolithic Preference Optimization without Reference Model",
            authors="Hong, Jiwoo and Lee, Noah and Thorne, James",
            year=2024,
            arxiv="2403.07691",
        ),
        formula=r"\mathcal{L} = -\frac{1}{|y_w|} \log \pi_\theta(y_w \mid x)"
        r" - \beta \log \sigma\left("
        r"\log \frac{\mathrm{odds}_\theta(y_w \mid x)}{\mathrm{odds}_\theta(y_l \mid x)}\right)",
    ),
    "simper": Method(
        name="simper",
        title="SimPER: preference optimization by inverse perplexity",
        config="alignment.trainers.config:SimPERConfig",
        trainer="alignment.trainers.simper:SimPERTrainer",
        paper=Paper(
            title="SimPER: A Minimalist Approach to Preference Alignment without Hyperparameters",
            authors="Xiao, Teng and Yuan, Yige and Chen, Zhengyu and Li, Mingxiao and Liang, Shangsong and "
            "Ren, Zhaochun and Honavar, Vasant G.",
            year=2025,
            arxiv="2502.00883",
        ),
        formula=r"\mathcal{L} = -\exp\left(\frac{1}{|y_w|} \log \pi_\theta(y_w \mid x)\right)"
        r" + \exp\left(\frac{1}{|y_l|} \log \pi_\theta(y_l \mid x)\right)",
    ),
    "repo": Method(
        name="repo",
        title="ReLU-based Preference Optimization",
        config="alignment.trainers.config:RePOConfig",
        trainer="alignment.trainers.repo:RePOTrainer",
        bounds={"gamma": at_least(0, "its authors used 0.4 to 0.6; 0 asks for no margin")},
        symbols={"gamma": r"\gamma"},
        paper=Paper(
            title="RePO: Understanding Preference Learning Through ReLU-Based Optimization",
            authors="Wu, Junkang and Huang, Kexin and Wang, Xue and Gao, Jinyang and Ding, Bolin and "
            "Wu, Jiancan and He, Xiangnan and Wang, Xiang",
            year=2025,
            arxiv="2503.07426",
        ),
        formula=r"\mathcal{L} = \max\left(0, \gamma - \frac{1}{|y_w|} \log \pi_\theta(y_w \mid x)"
        r" + \frac{1}{|y_l|} \log \pi_\theta(y_l \mid x)\right)",
    ),
    "alphapo": Method(
        name="alphapo",
        title="AlphaPO: preference optimization with a shaped reward",
        config="alignment.trainers.config:AlphaPOConfig",
        trainer="alignment.trainers.alphapo:AlphaPOTrainer",
        bounds={"alpha": Bound(low=-10, high=10, remedy="its authors used 0.25 for Mistral; 0 is SimPO")},
        symbols={"alpha": r"\alpha"},
        paper=Paper(
            title="AlphaPO: Reward Shape Matters for LLM Alignment",
            authors="Gupta, Aman and Tang, Shao and Song, Qingquan and Zhu, Sirou and Hong, Jiwoo and others",
            year=2025,
            arxiv="2501.03884",
        ),
        formula=r"\mathcal{L} = -\log \sigma\left(r(y_w) - r(y_l) - \gamma\right), \quad"
        r" r(y) = \frac{\beta}{\alpha} \left(1 - \pi_\theta(y \mid x)^{-\alpha / |y|}\right)",
    ),
    "reward": Method(
        name="reward",
        title="Reward modeling",
        config="alignment.trainers.reward_config:RewardConfig",
        trainer="alignment.trainers.reward:RewardTrainer",
        built_on_trl=True,
        rules="alignment.data.token_rules:RewardRules",
        metrics=(
            *("loss", "rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected"),
            *("min_reward", "mean_reward", "max_reward"),
        ),
        reward_model=True,
        logps=None,
        bounds={"center_rewards_coefficient": at_least(0, "0.01 is usual; remove it to switch it off")},
        relations="alignment.recipe.reward_relations:REWARD_RULES",
        paper=Paper(
            title="Learning to summarize from human feedback",
            authors="Stiennon, Nisan and Ouyang, Long and Wu, Jeff and others",
            year=2020,
            arxiv="2009.01325",
        ),
        formula=r"\mathcal{L} = -\log \sigma\left(r_\theta(x, y_w) - r_\theta(x, y_l)\right)",
    ),
}
