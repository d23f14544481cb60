"""Hyper-parameters of a small network of every architecture."""

OWN = {
    "inverse-variance": {"restored_error": 0.01, "sigmas": [0.1, 0.2], "denoised_errors": [0.01, 0.02]},
    "unet-bridge": {"channels": [4, 6], "blocks": [1, 1], "encoding": 8, "start": "observation"},
    "unet-denoiser": {"channels": [8, 16], "blocks": [1, 1], "encoding": 8, "sigma_range": [0.01, 0.5]},
    "fusion-3ca": {"channels": 8, "blocks": 1, "encoding": 8},
    "fast-fusion": {"channels": [8, 16], "blocks": [1, 1, 1], "encoding": 8},
    "fast-photo": {
        "channels": [8, 8],
        "blocks": [1, 1],
        "enlarging_channels": 8,
        "enlarging_blocks": 1,
        "scale": 4,
    },
    "fast-sr": {"channels": 8, "blocks": 1, "scale": 4},
    "fast-deblur": {"channels": [8, 8], "blocks": [1, 1]},
    "fast-burst": {"channels": [8, 8], "blocks": [1, 1]},
}
PUBLISHED = {
    "bsrt": {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 2], "n_feats": 16, "deform_groups": 2},
    "drunet": {"nc": [8, 8, 12, 16], "nb": 1},
    "ffdnet": {"nc": 8, "nb": 4},
    "fftformer": {"dim": 8, "num_blocks": [1, 1, 1], "num_refinement_blocks": 1},
    "guided-unet": {"model_channels": 32, "channel_mult": [1, 2], "num_res_blocks": 1, "attention_rates": [2]},
    "mirnet": {"n_feat": 8, "n_rrg": 1, "n_msrb": 1},
    "rlfn": {"channels": 8, "attention_channels": 4, "blocks": 2, "scale": 3},
    "rrdb": {"num_feat": 8, "num_block": 1, "num_grow_ch": 4},
    "swinir": {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 2], "img_size": 16, "upscale": 2},
}

SMALL = {**OWN, **PUBLISHED}
