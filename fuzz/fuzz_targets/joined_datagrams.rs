#![cfg_attr(fuzzing, no_main)]
isatap_fuzz::target!(joined_datagrams);
