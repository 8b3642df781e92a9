import sys,torch
sys.path.insert(0,'/tmp/ref')
from run import build
import numpy as np
import os; os.chdir('/tmp/bp')
import shutil; shutil.copy('d.csv',sys.argv[1]+'.csv')
from vispec.train.loop import approach as A
model,data,cls=build(sys.argv[1]); torch.manual_seed(0); m=cls(); batch={k:torch.as_tensor(v) for k,v in data.batch(np.arange(data.num_rows)).items()}
names=[n for n,_ in m.named_parameters()]
u=A.approach(m,batch,data.num_rows,names)
for n,p in m.named_parameters(): print(n,p.detach().numpy(),u[n].numpy())
for k in range(5):
    print('draw mean', torch.stack([m.shared()[0] for _ in range(2000)]).mean().item()) if k<1 else None
