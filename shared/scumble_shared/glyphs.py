"""Letters as pictures, for labels where no font can be loaded: Aileron Regular (CC0 1.0) at 18 pixels.

Made by drawing each character once; four bits a pixel, all in one row, compressed.
"""

from __future__ import annotations

__all__ = ["CHARACTERS", "DATA", "HEIGHT", "WIDTHS"]

HEIGHT = 23
"""Pixels of a line."""

CHARACTERS = (
    " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~©«°±´·»…‘’“”"
)

WIDTHS = "447::><466;:4645::::::::::44:::9?<;==;;==5:;;@==;=;;;=;A;;;656:95:;:;:7;:4494?:;;;697:9>999556:@:6:54:<4477"
"""Of each character, pixels, as ``chr(48 + width)``."""

DATA = (
    "c-rk+du&_P8UOC}+t-hahImXQF|bvX(Zt{up}`sp(xjBOwl+=LP$QeE;*W|p7VS1og2qMsfnaSy_Yjko#*{ubQEH>88={S4XiH(V"
    "Nh;Q~lqPW!NXXlX(>QS+ci(r8A8~5fU}a*^Q*m<c@j2&y-}n1o=eq!0YuDPfcCB4&->@e5uAKW3eDG}-i>O4fSE64JYPQ>Ngq6Ol"
    "!dD)S_QRv!dboS+*f0N2;TFSRsbcg(F=#VyxTACKnJ=>27=vUGK>w2vsKRq@`0lU|N>O>98u=$c5`-vN<b3-=!p^xJ$XhS~!k!^7"
    "z=rt-oYo}4q9}?THVnTAI8b6j-SBP@_sr#0NOgG7o_SCyP5`T-4A?=~Ir0u0e`o`Cj2*{H9E7Jv-j%@`;B?cbBzvmo57s&CN^oih"
    "Xj<4gpE^a(j`4KWYe)^9s<3TI^(6LHRc_GE14w5tAzK3_cxqvUae!9PlWPkFDQ1#6%mn!#sn@yS*Hie921MmmX)%NwJKnT28_UCP"
    "KGuw+2F1>t4f<$1=v#N0ThC<SmX`Rz^SAyu)c<?}8Ub$UEBi4KtPOzCo6qmZq(lV@wR$uF(z!<_K|5XEiO3b8thYKGvbL{$NOm|J"
    "p4#Hx@)28c+v@3jw7ZT}b|cZ@x!pw9NG*z`!Ld0G%lcN;2XMT6^Tz-)c#e$oj=O0-_|}zh>o2F^Mm>Y=I5ldg>6Pcp>R+c*wzOu("
    "j?LZR+K<#Y98C@fhZ_d5Z!D<=Bks4<x_lsY>Ep<plQ@VV&@XYg)hU?8v!4UEH3VNCZe#2V!Mz2MRe!?A=Eqz4;9%|s^X>##{2!J)"
    "naILzF}R^!j1It{Fs+?HPTibfgBP^5d0wgwd3?A?H(e9}k6jo7O8`o7VO<hRNV!V9;GrYxZ8c7C`GYp7w&gjdSyoMfc;?xA!-$jl"
    "PpwQWs%bc51KlJu&}Lf-NhU6w*H2#wca=A_sL2oTCQdbma9U`WLCsccCbMIFA*y+eox{W7u1D*ivP8fV^g^lI(2cYsOTqvn(S|^;"
    "<8Yfk&LuxT+=0cver0frJ*uWb`+DwvEoJ$Gh^t~8JY^HrOUAQs-zC{#MvOjAa2FzFK^a6D=`^A1i{uIIk{4GL1vE}%qYfYprA{cS"
    "1=ZywxCqx>=v?rxI0bCo5I~Wa6n#;9k7QAd80oqIN|(pESd!Yy_}d^GyZj5_rg>rh3b@r%DcM?IjeszTQwQQWt(#!_MoKfC9pg&$"
    "N<VNfgxiIFJZ>C=l63*7mW4qAy4tNL`RFba-xeF=e%+>Qgg%TBEV*`MFThQm=c#K8V#HukB1Tg|NNyM=;_06zX$@HaGV*fekeyEp"
    "PtP9#>%Qgz8*SPYvmWRZb`H5|Gty{`p+*{qqfj&sri*bfcDJLhwNhlsfm>f&dSY#l!OtFaiZ5^Wb=VYw!^Y_QQYfQNmeJ7>Xt@U$"
    "hnGz5L2aqAaRFoC7U+oRBDjm>OGE&J!2x71KteNxl2BDS{~{b)iyfZcMRru`MFAJpUVsa<Y%>d+(3T3=2{<JNdtX5hR0p4O>z<V8"
    "O{*9MXmeS(+5B(h#c;0-q~Sg=4%#uAx`_XoXtm47;O1j5ot}UeXT};i+~}I5R&;7rH%H+Rfag(EK67gcxwYb2;@ik2d9X0!q6$u~"
    "nSj~8@?ja8w^av(mTlWR!PHyP52X!uU{ABXYo=0guM8mEAFWQF!>}^j`|uP<Q>&VM*5++n&cZE;is6{G<4NP>BbVX+xShdWjZx*L"
    "IJhREXvYu|j#4b~Q)Ces++&;wlRYep7t;24TmEGGS2{cVQs>>OvuEHIpL^goaLr&GU8cN3iA!+<7qAt$DlLY41I0U%K3k=xuy8$s"
    "x!sn8nzq%mFhm{tbU!RR{+;*GX@e&q19_dwlNdHJYF3`(-m6O!DLA)fY%L(zuhDtJ1Aa>=;}#L8EZhs`7r?!DFzq?5FDF0>5!_X1"
    "$ZT~{Ev{B4vg5nX!upx5xo{iMj{IT*Ue%0~%1NVW`<ldIBDYZ{zBLi*#jcbgQD$csrU7$Hk00${7spPm0D@Fa9)v&Puk9Rekvx@k"
    "3_87-5-1opq1p@5xOD<FQxrE{F>4%|69$Pb26qvrQV%8Iw{L>W>3QrU5@Z#sTG(a`5Zs5j!dhfvo$T=qsW!&}zo3tNUa<K68Z@+^"
    "g52C{qJ?4$SzsD&gFE^&%4(HNWI0HJqP+};0!m$!UO<T@0poOy8*`o-lo?7)J*s>Ho`&mNc<@?#E`7x26V!X$MsKy#)LIDYiR-HD"
    "^p<(QH4Cd0BWI9gZ_muLggFEEnTZVCfuk5S2yP1^%U0u`06fr@9xKW$;<r;do&&df0uvDU2>QfH6&|Lh1Ruhr!@4+=q0mjeKA_5I"
    "{Oz<4*I8Q8#|c}>(RIRUN?P!J{0Y<iCJuK2rI*$SG}+LFu<2&95i2emCeLV&;g9AX4hMr<YDL{2gg16!STy!`1A=ml1v8V6;NI>|"
    "!9By_HUwT+7;m2ksrIj*2lv~*rp1HAVb#6uFT%3(50y4#oVoVU>;X_M?{U~k*0=-NUtryoPXVlG@k!))uS1?|XQ?B{3F}Xmk2<xZ"
    "b1tTS(z)!bHzNc>ADC@tz#OoGfdFOM_++kiV`hF2<<t%v&P%9;G`>Fz_bfWpG~Cs)M<%#+<5}xQi0$cdgQJGB>-*+y3*m--ax90%"
    "I9$}CpEPySno>%1i+x;%2U!Gn!pY37@y{bH36Nq;lj!^=7)2H+c<`qgdIiBfbA~RDxGpFoU~C#YA!%jH22+QqM^DKaxHWNfGkajd"
    "W&Z~V=xlW3LLwbm5bkc!cKm%s)NF5-g#)Tqc<P3;X*(c1M{PpeExyl&n=cc)hLMVX&$H7I=C|8)s-}N8qdF?W9GzP>c7xQz!&z&U"
    "GcEQ(_KVa-$u}U<qOF9z-m;g!jXcLvJWq!yH1b~LTLzYWWskJ-%$!BqpYqrpTHwraUUal%o%tUb+-E(Z4BRE&LoA#N{n^;v;IKh9"
    "j!W#i;_-91XE@w@Q0<^<Nfhdgcvj8Qc>0Y;Q+#irz7pVxj59yt;BZH|<KO_ZD`Oz_luW~|AYRPN1j#;=IdF$lI)g8}q3Pok+)_;V"
    "R89HxnDsGC6-Rv_BuEdBWixZjtxqUEgWt3F&bYod4R^{SG5`21xOrP~{G?s|j2I0A7`p1^Fbt;HO<lw`nA|zB8&emSar0I67)f3w"
    "qDi}B?~`FSvbat48p_fF$0*pb`}!`tVYAo`OFu=U)H+!J@;EnPkizsBcpgm|IKOatybIu_c^J*YJ%}>HCw(R}512xI{BBlVvLG|Z"
    "otd$IOnV#{=>#|Gw>XW8umZF2l1(A-Ec2mH5-z3QNEZgicagj(3u>oVqcb;0%;?M?G&A>&+wP!u@TUyib9coT!<}*Fm+&NV=Eydv"
    "h8Wx-u*9Iw5P_oSBGUdbklsb&j-ejvy0dVLfSHikjc(IjY+LNi;WM4Nz%Ff?T1-chVie;@sh8j$Nm(~9vj`uc!^oZ`(8Yw^yCGHN"
    "0LoGdBM9S+y&hw?v)YLr`3UGh>-J${d733^AlC2ZhuqX}V@H9>8NRL4@d3Iny!<ljP6+6p4HFFdc6kBZG_O;#a5saR?PzkR7wImK"
    "bGQp@_`N%s+DT)!RvTB%kfC$9QBw^_zU6szVdgp?lpr7G2wnf!K31S2z9sJ>xCg0#NU53+3DuA5S#pN=nR=N^M6G1uP6{2iMQ~?Q"
    "wFKojE`qz%kEV`nnWOj&u9djrs9)C~f~vbwjjD>>Q0!e?W_jAKvZ?SIcx9@li;zCZ6k2m?F3h*-e}R6bWq%(g<)^{(ha^<LQ|1Zq"
    "G=PezJgH7EH~ZJ209aLx6*+!~##+!<-fU-{vAFHwX(;H$ju$6S;$@}q+?sB<AdrcPscOUkyVIEcczIklS2^dz_(>N!irttyx2+1Y"
    "IKI6bGA<I^`tz$Ao3e0w_EmP%Q*jT>mX(#EOvSlKs?avdt7>nh3LG?!FlD+7^+zfw+!G;GrlZq35PribLOsGtFoskG;3&S@PBPSn"
    "7Qr3d_QVX#^;OJ*II^+EFLZ3&-hy1OPB0~9Pg%I3^sM#m9Jr;aGQ5a&Y^#porivkg+mxulJ3_*#PnKUo&|75CDo*vhPwXe<EJV{e"
    "jl|@_t($)Ed-Ykbts-)>G}6ttBew)@Vp);20+r*&<~c8=qPmWkLDQ%V`SN@sA@_{g;Y$F#W=_npP%PHX@8+qK_}VP`11geJYzKAY"
    "@D32ei0&y~*;nzCI9Zrz3ZF0~)NmicE8KY65teyeka?*0a?t24!7SX`mW!-DfT?tPQHzhmEg;;u`kiz=ORQ6rIVuXl0BFKPJ5rgs"
    "P&ZGtAB}>_M-_8JlFDxA4EVlu%^ZZ-BDilJIf1vVr%48PQhoo<krP3xy|~#vd}>+<w`RsLmjk!3lgcayJCQ%!w1zqJIy_9(5`~>Z"
    "kH$bx(Or=->%s)cI1a{SD#PkQxU(08ACAtyk|iqV^27_cjq(@zBDUxQ=q|py=Sx-hrTm4&_4}^-{;~hXr>*<!U;YDVDE$F6SEBiw"
    "9vN-UUuj*~GKJNDUpfWNL~2lPFJ|THoM3#_zIQKbAO1Juwz~6+^RP1O{W^aEWezg!C3F2{{)R46mAtxe8(P!SLhBa)zrQHoF2gsf"
    "3GExVbf+zS>T1BPuFjfD@wNXE=WEuMb`GSg>(<w=2He&*xCZyN_Ql%20EhVCFa"
)
"""base85 of zlib of HEIGHT rows of two pixels a byte, the left one in the upper half."""
