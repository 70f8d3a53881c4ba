"""Rules for LSTM, GRU and RNN."""
