"""The fonts of sources.py, by file name without spaces, and the Debian packages that have them.

No font is in both halves, and fonts of one origin (the clones of Helvetica, of Times and of
Courier; Noto and Open Sans; Carlito and Lato) are in the same half. Left out are fonts that

- matplotlib ships or that come from the same drawings, because the training may draw with them:
  DejaVu, Hack, Verana, STIX;
- nobody can read one digit at a time: EB Garamond and Vollkorn (their 1 is a small capital I),
  OCR-A (its 6 is a b), Beteckna (its 1 is a bare bar), Breip (its 0 is open), Femkeklaver (it draws
  outlines), Ecolier (its strokes vanish when they are small).
"""

DEBIAN_PACKAGES = (
    "fonts-3270 fonts-adf-gillius fonts-adf-tribun fonts-agave fonts-anonymous-pro "
    "fonts-averia-sans-gwf fonts-b612 fonts-bebas-neue fonts-bwht fonts-cabin fonts-cantarell "
    "fonts-clear-sans fonts-comfortaa fonts-courier-prime fonts-crosextra-caladea "
    "fonts-crosextra-carlito fonts-dkg-handwriting fonts-dosis fonts-dseg fonts-eurofurence "
    "fonts-fantasque-sans fonts-firacode fonts-freefont-ttf fonts-gnutypewriter fonts-hermit "
    "fonts-humor-sans fonts-inconsolata fonts-inter fonts-jetbrains-mono fonts-junction "
    "fonts-junicode fonts-jura fonts-karla fonts-kiloji fonts-klee fonts-kristi fonts-lato "
    "fonts-league-mono fonts-league-spartan fonts-liberation fonts-linuxlibertine fonts-lobster "
    "fonts-manrope fonts-monofur fonts-mononoki fonts-noto-core fonts-ocr-b fonts-okolaks "
    "fonts-open-sans fonts-play fonts-quicksand fonts-roboto-slab fonts-roboto-unhinted "
    "fonts-rufscript fonts-seto fonts-sil-andika fonts-sil-charis fonts-sil-gentiumplus "
    "fonts-sjfonts fonts-tlwg-typewriter-ttf fonts-tuffy fonts-urw-base35 fonts-yusei-magic"
)
PRINTED = {
    "decide": """LiberationSans-Regular.ttf LiberationSansNarrow-Bold.ttf NimbusMonoPS-Bold.otf
        FreeMono.ttf TlwgTypewriter.ttf CourierPrime.otf NotoSans-Regular.ttf OpenSans-CondBold.ttf
        URWGothic-Book.otf C059-Roman.otf LinBiolinum_R.otf Inconsolata.otf LeagueSpartan-Bold.otf
        Comfortaa-Regular.ttf Play-Regular.ttf Cabin-Regular.otf mononoki-Regular.ttf OCRB.otf
        Karla-Regular.otf monof55.ttf eurof55.ttf 3270-Regular.ttf AveriaSansGWF-Regular.ttf
        Z003-MediumItalic.otf Carlito-Regular.ttf Lato-Black.ttf JetBrainsMono-Regular.ttf
        Tuffy.ttf Dosis-Medium.otf TribunADFStd-Regular.otf CharisSIL-Regular.ttf""",
    "report": """LiberationSerif-Regular.ttf FreeSerifBold.ttf LiberationMono-Bold.ttf
        Roboto-Regular.ttf RobotoCondensed-Bold.ttf RobotoSlab-Regular.otf P052-Roman.otf
        URWBookman-Light.otf LinLibertine_R.otf FiraCode-Regular.ttf Cantarell-Regular.otf
        Quicksand-Regular.ttf Jura-Regular.otf B612-Regular.otf agave-r-autohinted.ttf
        AnonymousPro.ttf Andika-Regular.ttf GentiumPlus-Regular.ttf BebasNeue-Bold.otf
        ClearSans-Regular.ttf GilliusADF-Regular.otf GNUTypewriter.ttf Manrope-Bold.ttf
        FantasqueSansMono-Regular.ttf LeagueMono-Regular.otf Hermit-medium.otf Junction.otf
        okolaksRegular.ttf Inter-Regular.otf lobster.otf Caladea-Regular.ttf
        JunicodeTwoBeta-Regular.otf""",
}
HANDWRITTEN = {
    "decide": """Kristi.ttf Humor-Sans.ttf Delphine.ttf KleeOne-Regular.ttf kiloji.ttf
        BecauseWeConnect-Regular.otf BecauseWeMentor-Regular.otf BecauseWeOrganize-Regular.otf""",
    "report": """dkg.ttf Rufscript010.ttf SteveHand.ttf YuseiMagic-Regular.ttf setofont.ttf
        BecauseWeCreate-Regular.otf BecauseWeLearn-Regular.otf""",
}
SEGMENTS = {
    "decide": "DSEG7Classic-Bold.ttf DSEG7Classic-LightItalic.ttf DSEG7Classic-Regular.ttf",
    "report": "DSEG7Modern-Bold.ttf DSEG7Modern-Italic.ttf DSEG7Modern-Regular.ttf",
}
