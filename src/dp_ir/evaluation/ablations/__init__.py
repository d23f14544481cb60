"""The paper's experiments: studies that vary one thing of a bundle, and fusions trained on equal terms."""
