#![cfg_attr(fuzzing, no_main)]
isatap_fuzz::target!(ipv6_text);
