"""`fastloss demo`: one small model trained twice, with Keras's loss and with ours."""
