#![cfg_attr(fuzzing, no_main)]
isatap_fuzz::target!(link_pairs);
