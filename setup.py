"""Package metadata. The exact versions every test ran with are in constraints.txt."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent

# alpaca_eval imports pkg_resources, which setuptools 82 no longer has, and does not say so.
EVAL = ["alpaca_eval>=0.6.6,<0.7", "lm_eval[ifeval]>=0.4.9,<0.5", "setuptools>=77,<82"]

DOCS = ["mkdocs-material>=9.5,<10"]

EXTRAS = {
    "docs": DOCS,
    "eval": EVAL,
    "flash": ["flash-attn>=2.6"],
    "gguf": ["sentencepiece>=0.2"],  # which llama.cpp's converter imports
    "quant": ["bitsandbytes>=0.46"],
    "track": ["tensorboard>=2.18", "trackio>=0.2"],
    "vllm": ["vllm>=0.11"],
    "dev": [
        *EVAL,
        *DOCS,
        "fastapi>=0.115",
        "hypothesis>=6.100",
        "import-linter>=2.1",
        "jsonschema>=4.20",
        "mypy>=1.11",
        "openai>=1.98",
        "pytest>=8.0",
        "pytest-xdist>=3.6",
        "ruff>=0.8",
        "tensorboard>=2.18",
        "trackio>=0.2",
    ],
}

SHIPPED = ("recipes", "configs")


class BuildWithRecipes(build_py):
    """Copies the recipes and the launch configurations into the wheel; an editable install reads the repository's."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for folder in SHIPPED:
                target = Path(self.build_lib) / "alignment" / "shipped" / folder
                shutil.copytree(ROOT / folder, target, dirs_exist_ok=True)


setup(
    name="alignment-handbook-simpo",
    version="1.0.0rc1",
    description="Preference data in, aligned chat model out: SFT, DPO, SimPO and ORPO from one YAML recipe.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={"alignment": ["templates/*"]},
    cmdclass={"build_py": BuildWithRecipes},
    install_requires=[
        "accelerate>=1.12,<2",
        "datasets>=4.0,<6",
        "deepspeed>=0.18,<0.20",
        "filelock>=3.12",
        "gguf>=0.10",
        "httpx>=0.27,<1",
        "huggingface_hub>=1.0,<3",
        "jinja2>=3.1",
        "matplotlib>=3.8",
        "ninja>=1.11",
        "peft>=0.18,<0.22",
        "plotly>=6.0,<8",
        "psutil>=5.9",
        "py3langid>=0.4,<1",
        "pydantic>=2.7,<3",
        "pyyaml>=6.0",
        "rensa>=0.5,<1",
        "rich>=13.7",
        "safetensors>=0.5",
        "torch>=2.11,<2.14",
        "tqdm>=4.66",
        "transformers>=5.17,<5.24",
        "trl>=1.10,<1.17",
        "typer>=0.15",
        "wandb>=0.19,<1",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["alignment = alignment.cli.app:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
