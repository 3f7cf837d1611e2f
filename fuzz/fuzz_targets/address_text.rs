#![cfg_attr(fuzzing, no_main)]
isatap_fuzz::target!(address_text);
