#![cfg_attr(fuzzing, no_main)]
isatap_fuzz::target!(wire_views);
