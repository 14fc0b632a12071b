"""Operations run in their own process, as folders that tell their own state; see store.py for what others call."""
