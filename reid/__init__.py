"""Person re-identification across camera domains: train on one, test on others.

An image's way through the package:

    data        file -> card (path, identity, camera, split) -> transforms -> batches
    models      batch -> embedder: backbone (BN, IBN-a or IBN-b), pooling, BNNeck
    losses      what the embedder is trained with
    engine      build (config -> objects) · train · checkpoint · extract (images -> Features)
    retrieval   Features -> ranked lists (FAISS), exact CMC, mAP, mINP
    evaluation  a trained run x targets -> results.json
    gallery     entries that last: crops and videos -> store -> answers, thresholds, web page
    report      tables and plots
    commands    what each command reads and prints; cli puts them together
"""

__version__ = "0.1.0"
